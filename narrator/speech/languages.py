"""eSpeak NG's language names as BCP 47 tags (RFC 5646)."""

import re

# Where eSpeak NG's short names of regions and accents would read as countries, and Klingon, named by its script.
_EXCEPTIONS = {"ca-ba": "ca-x-balearic", "ca-nw": "ca-x-nw", "ca-va": "ca-valencia", "ru-cl": "ru-x-classic",
               "piqd": "tlh-Piqd"}


def bcp47(name: str) -> str:
    """`name` ("en-us-nyc") as a tag ("en-US-x-nyc"): language, script, region, variants, then what is private."""
    name = name.lower()
    if name in _EXCEPTIONS:
        return _EXCEPTIONS[name]
    language, *parts = name.split("-")
    private = parts[parts.index("x") + 1:] if "x" in parts else []
    parts = parts[:parts.index("x")] if "x" in parts else parts
    script = [part.title() for part in parts if re.fullmatch("[a-z]{4}", part)][:1]
    region = [part.upper() for part in parts if re.fullmatch("[a-z]{2}|[0-9]{3}", part)][:1]
    variants = [part for part in parts if re.fullmatch("[a-z0-9]{5,8}|[0-9][a-z0-9]{3}", part)]
    taken = {part.lower() for part in script + region} | set(variants)
    private = [part for part in parts if part not in taken] + private
    return "-".join([language, *script, *region, *variants, *(["x", *private] if private else [])])
