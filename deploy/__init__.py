"""What it takes to run maeari somewhere: images, dashboards and the development servers."""
