"""The figures of classifiers, by hand."""

import numpy as np
import pytest

from narrator.metrics.classification import (
    Told,
    calibration_error,
    classification_scores,
    confusion,
    confusion_picture,
    confusion_table,
    recalls,
    share,
    told_scores,
)
from narrator.records import NarratorError


def test_shares_and_their_intervals() -> None:
    score = share(96, 100)
    assert (score.value, score.low, score.high) == pytest.approx((0.96, 0.90163, 0.98434), abs=1e-4)  # by hand
    assert share(5, 5).high == 1 == share(5, 5).value and 0.5 < share(5, 5).low < 0.6
    assert share(0, 5).low == 0
    with pytest.raises(NarratorError, match="nothing to score"):
        share(0, 0)


def test_classification_scores_by_hand() -> None:
    chances = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.5, 0.1, 0.4], [0.2, 0.5, 0.3]])
    labels = np.array([0, 2, 2, 0])
    found = classification_scores(chances, labels, top=2)
    assert found["accuracy"].value == 0.5 and found["top_2_accuracy"].value == 0.75
    assert found["class_loss"].value == pytest.approx(-np.log([0.7, 0.6, 0.4, 0.2]).mean())
    # bins of 1/15: 0.7 and 0.6 stand alone, the two of 0.5 together
    assert found["calibration_error"].value == pytest.approx((0.3 + 0.4 + 2 * 0.5) / 4)
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0
    assert found["class_loss"].low < found["class_loss"].value < found["class_loss"].high
    plain = classification_scores(chances, labels, top=2, intervals=False)["accuracy"]
    assert plain.low == plain.value == plain.high
    with pytest.raises(NarratorError, match="between 0 and 2; 0 to 3"):
        classification_scores(chances, np.array([0, 1, 2, 3]))


def test_confusion_counts_table_and_picture() -> None:
    counts = confusion(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 1]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 3, 0], [0, 0, 0]]
    told = recalls(counts)
    assert [score and score.value for score in told] == [0.5, 1.0, None]
    table = confusion_table(counts, ["a", "b", "c"]).splitlines()
    assert table[0] == "| true / told | a | b | c | recall |" and table[2].startswith("| **a** | 1 | 1 |  | 0.500 (")
    assert table[4] == "| **c** |  |  |  |  |"
    picture = confusion_picture(counts, ["a", "b", "c"])
    right, wrong = picture.getpixel((44 + 34 + 3, 44 + 34 + 3)), picture.getpixel((44 + 3, 44 + 34 + 3))
    assert sum(right) < sum(wrong) == 3 * 255  # type: ignore[arg-type]


def test_macro_figures_count_each_class_alike() -> None:
    """Class 0 four times of which three are told, class 1 once and told, class 2 named once in vain, class 3 never."""
    labels, told = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 2, 1])
    found = classification_scores(np.eye(4)[told], labels)
    assert found["macro_recall"].value == pytest.approx((3 / 4 + 1) / 2)
    assert found["macro_f1"].value == pytest.approx((6 / 7 + 1 + 0) / 3)  # 2 hits / (examples + times told)
    assert found["macro_f1"].low <= found["macro_f1"].value <= found["macro_f1"].high
    assert found["macro_recall"].higher_is_better and found["accuracy"].value == 0.8


def test_what_is_told_of_exchanged_pictures_is_counted_apart() -> None:
    told = Told(labels=np.array([0, 1, 1]), chances=np.eye(2)[[0, 1, 1]], nats=np.array([1.0, 2.0, 3.0]),
                exchanged=np.eye(2)[[1, 1, 0]])
    found = told_scores(told, intervals=False)
    assert (found["accuracy"].value, found["lm_loss"].value) == (1.0, 2.0)
    assert found["perplexity"].value == pytest.approx(np.exp(2))
    assert found["shuffled_accuracy"].value == pytest.approx(1 / 3) and not found["shuffled_accuracy"].higher_is_better
