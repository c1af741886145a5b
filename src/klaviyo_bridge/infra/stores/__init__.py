"""What services keep in the database: one module a store, each method one transaction."""
