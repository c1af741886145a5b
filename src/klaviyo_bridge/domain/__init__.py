"""The business: pure rules and the values they speak of."""
