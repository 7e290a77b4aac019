"""Shadow: a candidate classifies a share of the live traffic beside the champion, and the differences are counted."""
