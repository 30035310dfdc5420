"""What is done on a relay's machine over SSH, by the operator's own OpenSSH; knows no Pulumi."""
