"""What an experiment is: typed, frozen descriptions that know nothing of torch, DVC or MLflow.

A field that DVC tracks has no default: everything that decides a number stands in the YAML file, where a change shows.
"""
