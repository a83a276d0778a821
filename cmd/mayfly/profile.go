package main

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// profile is how to reach a node: what dev and serve write to --ready-file, and
// leave in their data folder for the other verbs.
type profile struct {
	Gateway string `json:"gateway"`
	API     string `json:"api"`
	Console string `json:"console"`
	S3      string `json:"s3"`
	Token   string `json:"token"`
	PID     int    `json:"pid"`
}

const profileName = "profile.json"

// findProfile looks for a dev node's profile in this folder and those above,
// then for the user's serve node. It is empty where there is none.
func findProfile() profile {
	dir, err := os.Getwd()
	for err == nil {
		if p, ok := readProfile(filepath.Join(dir, ".mayfly", profileName)); ok {
			return p
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	p, _ := readProfile(filepath.Join(serveData(), profileName))
	return p
}

func readProfile(path string) (profile, bool) {
	var p profile
	b, err := os.ReadFile(path)
	return p, err == nil && json.Unmarshal(b, &p) == nil && p.API != ""
}

// writeProfile replaces path at once, readable by the user alone: it holds the
// admin token.
func writeProfile(path string, p profile) error {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// serveData is the data folder of a serve node of this user.
func serveData() string {
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "mayfly")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "mayfly")
	}
	return filepath.Join(home, ".local", "share", "mayfly")
}
