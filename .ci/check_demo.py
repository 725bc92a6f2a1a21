"""Checks what the demo left: a report, a loss that fell, a detector well above the majority class."""

import json
import sys
from pathlib import Path

MARGIN = 0.35  # accuracy above the majority class, on the test messages

run = Path(sys.argv[1])
page = (run / "evaluation" / "report.html").read_text(encoding="utf-8")
summary = json.loads((run / "evaluation" / "summary.json").read_text(encoding="utf-8"))
first, final = summary["pretrain"]["first"], summary["pretrain"]["final"]
model, majority = summary["test"]["model"]["accuracy"], summary["test"]["majority class"]["accuracy"]

assert "</html>" in page, "the report was not written whole"
assert "http://" not in page.split("<body")[0], "the report asks for outside assets"
assert final["validation_loss"] < first["validation_loss"], f"the masked-token loss did not fall: {first} {final}"
assert model >= majority + MARGIN, f"test accuracy {model:.3f} is not {MARGIN} above the majority's {majority:.3f}"
print(f"demo: masked-token loss {first['validation_loss']:.2f} -> {final['validation_loss']:.2f}, "
      f"test accuracy {model:.3f} (majority {majority:.3f})")  # fmt: skip
