"""What a filter does to frames: the program libvirt instantiates, run over batches."""
