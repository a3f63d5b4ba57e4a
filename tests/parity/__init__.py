"""Everything that other clients do can be done here, by the names that the pages give."""
