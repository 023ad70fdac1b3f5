//go:build !race

package jwks_test

const raced = false
