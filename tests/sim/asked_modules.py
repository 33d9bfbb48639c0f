"""The API of a site, with the modules that a test calls: joining the routes of all takes longer than most of what is tested with them."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from fastapi import APIRouter, FastAPI

from hilum.server import mounts

V1 = "/api/v1/"
_NOTHING = APIRouter()
_words: dict[tuple[tuple[ModuleType, ...], object], set[str]] = {}
"""The first words of the addresses of each module, in each mode, once it was built."""


class AskedModules:
    """Finds the application that answers at a path. A module is built once a site: its routes hold limits and caches."""

    def __init__(self, join: Callable[[], FastAPI], mode: object) -> None:
        self._join, self._mode = join, mode
        self._apps: dict[str, FastAPI] = {}
        self._routers: dict[tuple[ModuleType, ...], APIRouter] = {}

    def find(self, path: str) -> FastAPI:
        # The document of the API, and what is no address of it, are of all modules.
        word = path[len(V1) :].partition("/")[0] if path.startswith(V1) else ""
        if not any(word in words for words in _words.values()):
            word = ""
        if word not in self._apps:
            modules = {
                name: _Room(found, self, word)
                for name, found in vars(mounts).items()
                if isinstance(found, ModuleType) and hasattr(found, "api")
            }
            whole = {name: vars(mounts)[name] for name in modules}
            vars(mounts).update(modules)
            try:
                self._apps[word] = self._join()
            finally:
                vars(mounts).update(whole)
        return self._apps[word]

    def router(self, module: ModuleType, word: str, *args: Any, **named: Any) -> APIRouter:
        # The routes of declared actions are built by one function, each time from other modules.
        key = module, *(each for each in args if isinstance(each, ModuleType))
        words = _words.get((key, self._mode))
        if word and words is not None and word not in words:
            return _NOTHING
        if key not in self._routers:
            made = self._routers[key] = module.api(*args, **named)
            paths = [str(vars(each)["path"]) for each in made.routes]
            _words[key, self._mode] = {path[len(V1) :].partition("/")[0] for path in paths}
        return self._routers[key]


class _Room:
    """A module as ``mounts`` sees it while it joins what one address needs."""

    def __init__(self, module: ModuleType, asked: AskedModules, word: str) -> None:
        self._module, self._asked, self._word = module, asked, word

    def api(self, *args: Any, **named: Any) -> APIRouter:
        return self._asked.router(self._module, self._word, *args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
