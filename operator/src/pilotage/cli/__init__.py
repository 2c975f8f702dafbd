"""`pilotage`, also as `kubectl pilotage`: what a rollout does, and the few things a person may say to it.

It reads and annotates ModelDeployments with the user's own kubeconfig and rights, and knows no other way in. Views are
pure functions from objects to text (`tree`, `table`), verbs are pure functions from a ModelDeployment to a patch
(`verbs`); `hub` does the requests and `main` the words.
"""
