package e2e

import (
	"context"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestPhotosInABrowser adds a photo on the page of examples/photos in Chromium,
// and sees its thumbnail there.
func TestPhotosInABrowser(t *testing.T) {
	needs(t, "python3", "node", "go", "chromium")
	playwright := playwrightModule(t)
	photo := filepath.Join(t.TempDir(), "photo.png")
	f, err := os.Create(photo)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, image.NewGray(image.Rect(0, 0, 640, 480))); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, t.TempDir(), "dev", "../examples/photos")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", "testdata/browser/photos.mjs", playwright, chromium, n.Gateway+"/", photo).CombinedOutput()
	if err != nil || string(out) != "ok\n" {
		t.Errorf("%v\n%s", err, out)
	}
	n.stop()
}

// playwrightModule is the browser's driver: the console's where it is installed,
// else one from npm.
func playwrightModule(t *testing.T) string {
	t.Helper()
	const version = "playwright-core@1.65.1" // as web/package.json has it
	if installed, err := filepath.Abs("../web/node_modules/playwright-core"); err == nil {
		if _, err := os.Stat(filepath.Join(installed, "package.json")); err == nil {
			return installed
		}
	}
	needs(t, "npm")
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", dir, version)
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install %s here: %v\n%.500s", version, err, out)
	}
	return filepath.Join(dir, "node_modules", "playwright-core")
}
