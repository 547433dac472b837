"""The how-to about loading and saving does what it says: its blocks run in order, in a folder of their own."""

import re
import shlex

from catalog.__main__ import main

BLOCK = re.compile(r"```(python|console)\n(.*?)```", re.DOTALL)


def test_every_block_runs(root, tmp_path, monkeypatch, capsys):
    text = (root / "docs" / "how-to" / "load-and-save.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names, count = {}, 0
    for kind, body in BLOCK.findall(text):
        if kind == "python":
            exec(compile(body, "load-and-save.md", "exec"), names)
            count += 1
            continue
        for line in body.splitlines():
            words = shlex.split(line)
            assert words[:4] == ["$", "python", "-m", "catalog"]
            assert main(words[4:]) == 0, line
            assert capsys.readouterr().out.strip()
            count += 1
    assert count >= 9
