"""Networks: identity, loading and naming of weights."""
