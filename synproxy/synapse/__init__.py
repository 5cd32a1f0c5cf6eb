"""What is known of Synapse: which process serves what, and what its configuration files say."""
