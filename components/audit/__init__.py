"""What is wrong with a dataset: copies, labels that are probably wrong, images unlike any other."""
