"""Labelled images and corrections from people -> a new dataset version. Nothing is trained on unchecked."""
