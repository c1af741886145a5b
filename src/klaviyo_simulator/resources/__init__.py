"""The HTTP operations, one module an area. `catalogue` joins them."""
