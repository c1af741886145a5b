"""Where an export goes: a warehouse that dlt knows, and a folder of Parquet files beside DuckDB."""
