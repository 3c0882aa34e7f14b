"""The renderer: z-buffer, materials, light, shading and ground truth of pieces."""
