"""What is handed to homes and devices, in the form that their owners can use."""
