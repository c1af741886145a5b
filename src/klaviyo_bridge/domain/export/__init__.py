"""What an export writes: tables, columns and rows, in our own layout and in Fivetran's."""
