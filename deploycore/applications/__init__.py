"""What is deployed where, and how: the model of an application, and files of applications."""
