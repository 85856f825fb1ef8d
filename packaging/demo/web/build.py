"""The build step: makes web/public/ from the template, the theme and the commit it is built for."""
import json
import os
import pathlib
import string

here = pathlib.Path(__file__).resolve().parent
theme = json.loads((here / "theme.json").read_text())
theme["branch"] = os.environ.get("MAYFLY_BRANCH", "no branch")
theme["commit"] = os.environ.get("MAYFLY_COMMIT", "no commit")[:12]

page = string.Template((here / "index.html").read_text()).substitute(theme)
public = here / "public"
public.mkdir(exist_ok=True)
(public / "index.html").write_text(page)
print(f"built {public / 'index.html'}: {len(page)} bytes")
