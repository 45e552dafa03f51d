"""p2pstore: a household's machines become one private, durable store.

Start with ARCHITECTURE.md; then `services/upload.py` (bytes > chunk > seal > encode > place) and `services/download.py`
(the same sentence backwards).
"""
