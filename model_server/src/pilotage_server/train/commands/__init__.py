"""The commands of `pilotage-model`, one module each. scikit-learn is imported inside those that need it."""
