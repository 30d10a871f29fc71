print("eval-cli")
