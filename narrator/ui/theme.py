"""Colours, type and spacing: calm, generous, at least 4.5:1 for text and 3:1 for edges in light and in dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SHARED, PAGE = HERE / "shared.js", HERE / "page.js"  # what all scripts use; what runs once the page is there
PAPER, CARD, INK, QUIET, EDGE, LINE, TEAL = "#f7f5f0", "#ffffff", "#182125", "#49565b", "#7b878b", "#d9d6cd", "#0d4f5a"
NIGHT, PANEL, CHALK, DIM, RIM, SEAM, AQUA = "#10181b", "#19242a", "#eef3f3", "#b4c2c6", "#7c8d93", "#35454c", "#8ad6df"

# Gradio's name of a colour -> (in light, in dark).
COLOURS = {
    "body_background_fill": (PAPER, NIGHT), "body_text_color": (INK, CHALK), "body_text_color_subdued": (QUIET, DIM),
    "background_fill_primary": (CARD, PANEL), "background_fill_secondary": (PAPER, NIGHT),
    "border_color_primary": (LINE, SEAM), "border_color_accent": (TEAL, AQUA),
    "block_background_fill": (CARD, PANEL), "block_border_color": (LINE, SEAM), "block_info_text_color": (QUIET, DIM),
    "block_label_text_color": (INK, CHALK), "block_label_background_fill": (CARD, PANEL),
    "block_title_text_color": (INK, CHALK),
    "input_background_fill": (CARD, NIGHT), "input_border_color": (EDGE, RIM),
    "input_border_color_focus": (TEAL, AQUA), "input_placeholder_color": (QUIET, DIM),
    "link_text_color": (TEAL, AQUA), "color_accent_soft": ("#dcecee", "#23454c"),
    "checkbox_border_color": (EDGE, RIM), "checkbox_background_color_selected": (TEAL, "#1d7f8c"),
    "checkbox_border_color_selected": (TEAL, AQUA),
    "button_primary_background_fill": (TEAL, AQUA), "button_primary_background_fill_hover": ("#0a3d46", "#b5e8ee"),
    "button_primary_text_color": (CARD, "#06262b"), "button_primary_text_color_hover": (CARD, "#06262b"),
    "button_primary_border_color": (TEAL, AQUA), "button_primary_border_color_hover": (TEAL, AQUA),
    "button_secondary_background_fill": (CARD, PANEL), "button_secondary_background_fill_hover": ("#e9f1f2", "#263a41"),
    "button_secondary_text_color": (INK, CHALK), "button_secondary_border_color": (EDGE, RIM),
}
REST = {"color_accent": TEAL, "button_border_width": "1px", "button_large_text_weight": "600",
        "input_border_width": "1px", "block_label_text_weight": "600", "block_title_text_weight": "600"}


def theme() -> Any:
    """A Gradio theme of these colours, with fonts of the system: nothing is fetched."""
    import gradio as gr

    base = gr.themes.Base(primary_hue=gr.themes.colors.teal, neutral_hue=gr.themes.colors.slate,
                          text_size=gr.themes.sizes.text_lg, radius_size=gr.themes.sizes.radius_lg,
                          font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
                          font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"])
    light = {name: pair[0] for name, pair in COLOURS.items()}
    dark = {f"{name}_dark": pair[1] for name, pair in COLOURS.items()}
    return base.set(**light, **dark, **REST)


def look() -> dict[str, Any]:
    """What `Blocks.launch` is given for looks: theme, the style sheets, and the scripts that name the unnamed."""
    sheets = [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*.css"))]
    scripts = [SHARED, *sorted(path for path in HERE.glob("*.js") if path not in (SHARED, PAGE))]
    return {"theme": theme(), "css": "\n".join(sheets), "js": PAGE.read_text(encoding="utf-8"),
            "head": f'<meta name="theme-color" content="{TEAL}"><meta name="color-scheme" content="light dark">'
                    + "".join(f"<script>{path.read_text(encoding='utf-8')}</script>" for path in scripts)}
