"""Work over many captures and reports: inputs by URL (fsspec), and many machines (Dask)."""
