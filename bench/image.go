package main

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// container is a function that answers "ok" from an image with one program.
func container() function {
	return function{name: "container", label: "container (Go)", manifest: "runtime: container\nsource: ./container/image\nconcurrency: {per_instance: 100}", build: func(ctx context.Context, s *session, dir string) error {
		server := filepath.Join(s.dir, "image-server")
		if err := s.build(ctx, server, "./bench/testdata/server"); err != nil {
			return err
		}
		return writeImage(filepath.Join(dir, "image"), readText(server))
	}}
}

// writeImage writes an image with one program as an OCI layout.
func writeImage(dir, program string) error {
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: "server", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))}); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, program); err != nil {
			return nil, err
		}
		return io.NopCloser(&b), w.Close()
	})
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return err
	}
	c, err := img.ConfigFile()
	if err != nil {
		return err
	}
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Config = "linux", runtime.GOARCH, v1.Config{Entrypoint: []string{"/server"}, User: "1000"}
	if img, err = mutate.ConfigFile(img, c); err != nil {
		return err
	}
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return p.AppendImage(img)
}
