"""Relations between two parts of a picture, claimed where displacing a part confirms them."""
