"""Physics of pictures: nothing, missing pixels, blur, coarse pixels, k-space, and any function of torch."""
