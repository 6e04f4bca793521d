"""Networks as text and as values: notation, shapes, costs, integer form, search spaces. Importable without torch."""
