"""Records on one target: Kaggle's disaster tweets, five fair folds, three seeds; README.md has the rules and the table."""
