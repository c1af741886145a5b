"""The application's own database, at any SQLAlchemy URL: rows read by keyset, values written back without
clobbering newer ones. Table and column names come from the database's own catalogue, never from text.
"""
