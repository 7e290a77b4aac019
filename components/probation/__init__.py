"""Judge a promoted model by live traffic, and roll back to the champion before if it does worse."""
