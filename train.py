"""Train, evaluate or continue a run: ``python train.py recipe=bert_glue``; what there is: ``python train.py --help``."""

import sys

from launchers.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
