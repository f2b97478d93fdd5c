# SPDX-License-Identifier: Apache-2.0
"""GLSL of the three passes: shadow depth, shaded colour, exact labels."""

SHADOW_VERTEX = """
#version 330
uniform mat4 light_from_object;
in vec3 position;
void main() { gl_Position = light_from_object * vec4(position, 1.0); }
"""

SHADOW_FRAGMENT = """
#version 330
void main() {}
"""

VERTEX = """
#version 330
uniform mat4 world_from_object;
uniform mat4 clip_from_world;
uniform mat4 light_from_world;
in vec3 position;
in vec3 normal;
in vec2 uv;
in float part;
out vec3 world;
out vec3 world_normal;
out vec2 surface_uv;
out vec3 light_position;
flat out int material;
void main() {
    vec4 p = world_from_object * vec4(position, 1.0);
    world = p.xyz;
    world_normal = mat3(world_from_object) * normal;
    surface_uv = uv;
    material = int(part + 0.5);
    vec4 l = light_from_world * p;
    light_position = l.xyz * 0.5 + 0.5;
    gl_Position = clip_from_world * p;
}
"""

# Ambient light is a room: ceiling, horizon and ground gradients plus a few lamps, blurred by roughness
# when reflected. Specular is a GGX lobe under the lamps with Schlick's Fresnel; contact shading of the table
# a product of soft blobs under the objects.
FRAGMENT = """
#version 330
uniform sampler2DArray bank;
uniform sampler2DShadow shadow_map;
uniform vec4 base[8];      // linear rgb, texture mix
uniform vec4 surface[8];   // roughness, metal, gloss, glow
uniform vec4 texturing[8]; // layer, repeat u, repeat v, unused
uniform vec3 eye;
uniform int light_count;
uniform vec3 light_direction[3];
uniform vec4 light_colour[3];  // rgb, sharpness
uniform vec3 ceiling;
uniform vec3 ground;
uniform float softness;        // shadow blur, fraction of the map
uniform vec3 exposure;
uniform int blob_count;
uniform vec4 blobs[8];         // x, y, radius, strength
uniform int is_room;
in vec3 world;
in vec3 world_normal;
in vec2 surface_uv;
in vec3 light_position;
flat in int material;
out vec4 colour;

vec3 environment(vec3 d, float rough) {
    float soft = 0.12 + rough;
    float up = smoothstep(-soft, soft, d.z);
    vec3 light = mix(ground, ceiling * (0.55 + 0.45 * clamp(d.z, 0.0, 1.0)), up);
    for (int i = 0; i < light_count; i++) {
        float k = light_colour[i].w / (1.0 + 8.0 * rough);
        float lobe = exp(k * (dot(d, light_direction[i]) - 1.0)) / (1.0 + 6.0 * rough);
        light += light_colour[i].rgb * 1.6 * lobe;
    }
    return light;
}

float shadow(vec3 p, float facing) {
    if (any(lessThan(p.xy, vec2(0.0))) || any(greaterThan(p.xy, vec2(1.0)))) return 1.0;
    float angle = 6.2831853 * fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715))));
    vec2 turn = vec2(cos(angle), sin(angle)) * softness;
    float bias = 0.0012 + 0.25 * softness * (1.0 - facing);
    float z = p.z - bias;
    float sum = texture(shadow_map, vec3(p.xy + turn * 0.35, z));
    sum += texture(shadow_map, vec3(p.xy - turn * 0.65, z));
    sum += texture(shadow_map, vec3(p.xy + vec2(-turn.y, turn.x) * 0.85, z));
    sum += texture(shadow_map, vec3(p.xy + vec2(turn.y, -turn.x), z));
    return sum * 0.25;
}

void main() {
    vec4 b = base[material];
    vec4 s = surface[material];
    vec4 t = texturing[material];
    vec3 albedo = b.rgb;
    if (b.a > 0.0) {
        vec3 texel = texture(bank, vec3(surface_uv * t.yz, t.x)).rgb;
        albedo = mix(albedo, albedo * texel * texel, b.a);  // squared: close to sRGB decoding, and cheap
    }
    vec3 view = normalize(eye - world);
    vec3 n = normalize(world_normal);
    if (dot(n, view) < 0.0) n = -n;
    float rough = s.x;
    float open = 1.0;
    if (is_room == 0) {
        open = mix(0.5, 1.0, smoothstep(-0.03, 0.07, world.z + 0.05 * n.z));
    } else if (material == 0) {
        for (int i = 0; i < blob_count; i++) {
            vec2 d = world.xy - blobs[i].xy;
            open *= 1.0 - blobs[i].w * exp(-dot(d, d) / (blobs[i].z * blobs[i].z));
        }
    }
    vec3 f0 = mix(vec3(0.04 * s.z), albedo, s.y);
    vec3 diffuse = albedo * (1.0 - s.y);
    float grazing = pow(1.0 - clamp(dot(n, view), 0.0, 1.0), 5.0);
    vec3 fresnel = f0 + (max(vec3(1.0 - rough), f0) - f0) * grazing * clamp(s.z, 0.0, 1.0);
    vec3 ambient = mix(ground, ceiling, 0.5 + 0.5 * n.z);
    vec3 sum = diffuse * ambient * open + fresnel * environment(reflect(-view, n), rough) * open;
    float a2 = max(rough * rough, 0.02);
    a2 *= a2;
    for (int i = 0; i < light_count; i++) {
        float facing = dot(n, light_direction[i]);
        if (facing <= 0.0) continue;
        float lit = i == 0 ? shadow(light_position, facing) : open;
        vec3 h = normalize(view + light_direction[i]);
        float nh = max(dot(n, h), 0.0);
        float q = nh * nh * (a2 - 1.0) + 1.0;
        float lobe = min(a2 / (q * q) * 0.25, 12.0);
        sum += light_colour[i].rgb * lit * facing * (diffuse + fresnel * lobe);
    }
    sum += albedo * s.w;
    sum *= exposure;
    // A filmic shoulder: highlights bend instead of clipping.
    sum = sum * (1.0 + sum * 0.12) / (1.0 + sum * 0.7) * 1.3;
    float grey = dot(sum, vec3(0.3, 0.6, 0.1));
    sum = max(mix(vec3(grey), sum, 1.15), 0.0);
    colour = vec4(pow(clamp(sum, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
}
"""

LABEL_VERTEX = """
#version 330
uniform mat4 camera_from_object;
uniform mat4 clip_from_camera;
uniform float diagonal;
in vec3 position;
in float part;
out vec3 nocs;
out float depth;
flat out int part_id;
void main() {
    vec4 p = camera_from_object * vec4(position, 1.0);
    nocs = position / diagonal + 0.5;
    depth = p.z;
    part_id = int(part + 0.5);
    gl_Position = clip_from_camera * p;
}
"""

LABEL_FRAGMENT = """
#version 330
uniform float instance;  // 1..n, 0 for the room
in vec3 nocs;
in float depth;
flat in int part_id;
layout(location = 0) out vec4 coordinate;
layout(location = 1) out vec4 geometry;  // depth in metres, instance, part
void main() {
    coordinate = vec4(instance > 0.5 ? nocs : vec3(0.0), 1.0);
    geometry = vec4(depth, instance, float(part_id), 1.0);
}
"""
