"""What the project promises of speed, measured. Figures are ratios within one run wherever they can be."""
