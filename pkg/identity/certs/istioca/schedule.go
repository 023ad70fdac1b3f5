package istioca

import (
	"math/rand/v2"
	"time"
)

const (
	longestWait  = 150 * time.Second // between calls that fail while a certificate is in use
	longestEmpty = 10 * time.Second  // between calls that fail while there is none: nothing is served meanwhile
	shortestWait = 500 * time.Millisecond
)

// halfLife is how long to wait before a certificate that lives for left is renewed: half of it and a little, so that
// replicas that started together do not keep on asking together. It counts from now and not from the certificate's
// beginning, which CAs put into the past for the sake of clocks that are late.
func halfLife(left time.Duration) time.Duration {
	return max(left/2+jitter(left/20), shortestWait)
}

// backOff is how long to wait after that many failures: 0.5 to 1 s, doubling. left is how long the certificate in use still
// serves: its end must not pass in the middle of a long wait.
func backOff(failures int, left time.Duration) time.Duration {
	longest := longestEmpty
	if left > 0 {
		longest = min(longestWait, max(left/2, time.Second))
	}
	wait := longest
	if failures < 16 { // a shift that cannot overflow
		wait = min(time.Second<<(failures-1), longest)
	}
	return wait/2 + jitter(wait/2)
}

func jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return rand.N(most)
}
