"""From a candidate to a fitted estimator: preparation, feature selection, sampling, classifier, calibration.

`catalogue` names the estimators and their parameters without importing scikit-learn, `recipes` makes them,
`pipeline` puts the steps together, `fitting` fits and calibrates, `serving` turns the result into what a server
loads. Every step that learns is inside the pipeline, so each fold learns it anew.
"""
