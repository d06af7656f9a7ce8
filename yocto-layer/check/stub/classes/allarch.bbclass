# The recipes set variables of this class; its own work is not checked here.
