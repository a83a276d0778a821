//go:build !linux

package process

import (
	"os"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

func limitPlain(int) {}

func usageOf(_ int, last sandbox.Usage) sandbox.Usage { return last }

func peakOf(*os.ProcessState) mayfly.Bytes { return 0 }
