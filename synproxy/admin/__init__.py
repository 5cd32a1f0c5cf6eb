"""What synproxy tells its operators: metrics and status, over all children."""
