package frame

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteOut puts a worker's files into a folder below dir, which is named for
// name and their content, and returns it. finish may add to the folder before
// it gets its name. A folder that is complete is left as it is.
func WriteOut(files fs.FS, dir, name string, finish func(dir string)) (string, error) {
	sum, err := digest(files)
	if err != nil {
		return "", err
	}
	final := filepath.Join(dir, name+"-"+sum)
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(dir, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.CopyFS(tmp, files); err != nil {
		return "", fmt.Errorf("write the worker's files: %w", err)
	}
	if finish != nil {
		finish(tmp)
	}
	if err := readable(tmp); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, final); err != nil {
		if _, there := os.Stat(final); there == nil { // another daemon was first
			return final, nil
		}
		return "", err
	}
	return final, nil
}

// digest names the content of files.
func digest(files fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		fmt.Fprintln(h, path, len(data))
		h.Write(data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}

// readable lets every function's user read the files.
func readable(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
}
