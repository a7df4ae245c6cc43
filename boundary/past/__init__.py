"""What a block of shoppers did, read in compiled passes: who they are by it, and which of it may be remembered."""
