"""What systems and tools leave in folders of data, which is never data."""

LITTER = frozenset(
    {
        ".ds_store",
        ".directory",
        ".gitignore",
        ".gitkeep",
        ".ipynb_checkpoints",
        ".localized",
        "__macosx",
        "@eadir",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "thumbs.db",
    }
)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is left by macOS, Windows, a NAS, git or Jupyter."""
    return name.lower() in LITTER or name.startswith("._")
