"""What the notebooks share: parameters in capitals to a checked member, and the folders of runs."""
