"""One file per format of training data: each yields `Row`s, and `BadRow`s for what it cannot use."""
